// Texts whose contrast with what they stand on is less than WCAG asks for: 4.5, or 3 where they are large.
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgba(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

const over = (top, under) => under.map((value, i) => (i < 3 ? top[i] * top[3] + value * (1 - top[3]) : 1));

function luminance(color) {
  const [r, g, b] = color.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const faults = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest("script, dialog, [aria-hidden=true], svg title, svg desc")) continue;
  const chain = [];
  for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e));
  let under = [255, 255, 255, 1];
  for (const style of chain) under = over(rgba(style.backgroundColor), under);
  const style = getComputedStyle(element);
  const color = rgba(element instanceof SVGElement ? style.fill : style.color);
  color[3] *= chain.reduce((opacity, one) => opacity * Number(one.opacity), 1);
  const [a, b] = [luminance(over(color, under)), luminance(under)];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5))
    faults.push(`<${element.tagName} class="${element.getAttribute("class")}"> ${element.textContent.trim().slice(0, 30)}: ${contrast.toFixed(2)}`);
}
return [...new Set(faults)].slice(0, 20);
