// Preact 11.2.0, its hooks, and htm 3.1.1, which writes elements as templates: the published files, but that the hooks
// import "./preact.js", since the policy of the page allows no import map.
import htm from "./htm.js";
import { h, render } from "./preact.js";
export * from "./hooks.js";
export { render };
export const html = htm.bind(h);
