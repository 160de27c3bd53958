// A list whose rows are moved by their grip, with the pointer or the arrow keys.
import { announce } from "./dom.js";

/** Rows are the children of `list` and have a `.grip`; `moved(from, to)` is called when a row was dropped. */
export function sortable(list, moved) {
  list.addEventListener("pointerdown", (event) => {
    const grip = event.target.closest(".grip"),
      row = grip?.closest("li");
    if (!row || row.parentNode !== list || event.button) return;
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    const rows = [...list.children],
      from = rows.indexOf(row),
      start = event.clientY,
      boxes = rows.map((r) => r.getBoundingClientRect());
    const scroller = list.closest("[data-scrolls]") ?? document.scrollingElement,
      before = scroller.scrollTop,
      height = boxes[from].height;
    let to = from;
    row.classList.add("dragged");
    const move = (e) => {
      const edge = scroller.getBoundingClientRect?.() ?? { top: 0, bottom: innerHeight };
      if (e.clientY > Math.min(innerHeight, edge.bottom) - 60) scroller.scrollTop += 12;
      if (e.clientY < Math.max(0, edge.top) + 60) scroller.scrollTop -= 12;
      const by = e.clientY - start + scroller.scrollTop - before,
        middle = boxes[from].top + height / 2 + by;
      row.style.setProperty("--by", by + "px");
      // A row makes room once the edge of the moved row has passed its middle.
      to = boxes.reduce(
        (n, box, i) =>
          n +
          (i !== from && box.top + box.height / 2 < middle + (i > from ? 0.45 : -0.45) * height
            ? 1
            : 0),
        0,
      );
      rows.forEach((r, i) => {
        if (r !== row)
          r.style.setProperty(
            "--by",
            (i > from && i <= to ? -height : i < from && i >= to ? height : 0) + "px",
          );
      });
    };
    const end = (e) => {
      grip.removeEventListener("pointermove", move);
      grip.removeEventListener("pointerup", end);
      grip.removeEventListener("pointercancel", end);
      rows.forEach((r) => {
        r.style.removeProperty("--by");
        r.classList.remove("dragged");
      });
      if (e.type === "pointerup" && to !== from) moved(from, to);
    };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("pointerup", end);
    grip.addEventListener("pointercancel", end);
  });
  list.addEventListener("keydown", (event) => {
    const grip = event.target.closest(".grip"),
      row = grip?.closest("li"),
      by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!row || !by || row.parentNode !== list) return;
    event.preventDefault();
    event.stopPropagation();
    const from = [...list.children].indexOf(row),
      to = from + by,
      key = row.dataset.key;
    if (to < 0 || to >= list.children.length) return;
    moved(from, to);
    announce(`Moved to place ${to + 1}`);
    // The list may have been rebuilt: the same row keeps the focus.
    requestAnimationFrame(() => {
      const now =
        document.querySelector(`li[data-key="${CSS.escape(key)}"] .grip`) ??
        document.querySelectorAll(".grip")[to];
      now?.focus();
    });
  });
}
