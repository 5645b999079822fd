"use strict";
const labels = [...document.querySelectorAll(".legend label")];
const panels = document.querySelector(".panels");

// Show and hide runs, and bring one out.
const show = (label) => {
  const checked = label.querySelector("input").checked;
  for (const mark of panels.querySelectorAll(".run-" + label.dataset.run)) {
    mark.classList.toggle("hidden", !checked);
  }
};
const highlight = (label, on) => {
  panels.classList.toggle("dimmed", on);
  for (const mark of panels.querySelectorAll(".run-" + label.dataset.run)) {
    mark.classList.toggle("bright", on);
  }
};
for (const label of labels) {
  label.addEventListener("change", () => show(label));
  label.addEventListener("mouseenter", () => highlight(label, true));
  label.addEventListener("mouseleave", () => highlight(label, false));
}
for (const button of document.querySelectorAll("[data-all]")) {
  button.addEventListener("click", () => {
    for (const label of labels) {
      label.querySelector("input").checked = Boolean(button.dataset.all);
      show(label);
    }
  });
}

// Zoom: drag a rectangle in a panel; a double click shows all of it again.
for (const svg of panels ? panels.querySelectorAll("svg") : []) {
  const all = svg.getAttribute("viewBox");
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(svg.getScreenCTM().inverse());
  };
  let start = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button === 0) { start = at(event); svg.classList.add("drawing"); }
  });
  svg.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const end = at(event);
    const [width, height] = [Math.abs(end.x - start.x), Math.abs(end.y - start.y)];
    if (width > 10 && height > 10) {
      const [x, y] = [Math.min(start.x, end.x), Math.min(start.y, end.y)];
      svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    } else {
      svg.closest("figure").classList.toggle("wide");
    }
    start = null;
    svg.classList.remove("drawing");
  });
  svg.addEventListener("dblclick", () => svg.setAttribute("viewBox", all));
}

// What is folded is printed unfolded, except the configurations.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")].filter((d) => !d.querySelector("pre"));
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
