// Preact, its hooks, and htm, which writes elements as templates.
import htm from "./htm.js";
import { h, render } from "./preact.js";
export * from "./hooks.js";
export { render };
export const html = htm.bind(h);
