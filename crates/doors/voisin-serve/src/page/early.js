// Asks what this place asked first the last time (`first` in api.js), while the page itself is on its way. What the browser
// kept is good for a first look: the page asks whether it still holds.
try {
  const place = location.hash.length < 2 ? "home" : location.hash.slice(2) || "listen";
  const address = JSON.parse(localStorage.getItem("voisin-first"))?.[place];
  if (address) window.early = { address, answer: fetch(address, { cache: "force-cache" }) };
} catch {
  /* a private window */
}
