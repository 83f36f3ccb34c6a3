"use strict";
// Everything on this page was computed before it was written. What is below only shows one of what is there.

function choose(group, number) {
  for (const part of document.querySelectorAll(`[data-group="${group}"]`)) {
    part.toggleAttribute("data-on", part.dataset.state === String(number));
  }
  for (const control of document.querySelectorAll(`[data-controls="${group}"]`)) {
    control.value = number;
    const chosen = control.parentElement.querySelector("output [data-on]");
    control.setAttribute("aria-valuetext", chosen ? chosen.textContent : number);
  }
}

for (const control of document.querySelectorAll("[data-controls]")) {
  choose(control.dataset.controls, control.defaultValue); // a browser that goes back would keep an old place
  control.addEventListener("input", () => choose(control.dataset.controls, control.value));
}
for (const part of document.querySelectorAll("[data-chooses]")) {
  part.addEventListener("click", () => choose(part.dataset.chooses, part.dataset.choice));
}
