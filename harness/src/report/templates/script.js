// The cursor over the run's picture: what the numbers were, by pointer or by arrow keys.
// Everything it shows is in the table below the picture too.
const svg = document.getElementById("plot");
const data = JSON.parse(document.getElementById("data").textContent);
if (svg && data.ok.length > 0) {
  const cursor = svg.querySelector(".cursor");
  const tip = document.getElementById("tip");
  const box = svg.viewBox.baseVal;
  const left = Number(svg.dataset.left);
  const step = (Number(svg.dataset.right) - left) * data.bucket_s / Number(svg.dataset.seconds);
  const ms = (value) => value === null ? "–" : value >= 1000 ? (value / 1000).toFixed(2) + " s" : value + " ms";
  let at = -1;
  const show = (bucket) => {
    at = Math.max(0, Math.min(data.ok.length - 1, bucket));
    const x = left + (at + 0.5) * step;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = tip.style.visibility = "visible";
    const rate = (count) => Math.round(count / data.bucket_s) + "/s";
    tip.textContent = `${(at * data.bucket_s).toFixed(2)} s\nok ${rate(data.ok[at])}  fail ${rate(data.fail[at])}  info ${rate(data.info[at])}\n`
      + `p50 ${ms(data.p50[at])}  p99 ${ms(data.p99[at])}  max ${ms(data.max[at])}`;
    const scale = svg.clientWidth / box.width;
    const wide = tip.offsetWidth;
    tip.style.left = (x * scale + 14 + wide > svg.clientWidth ? x * scale - wide - 14 : x * scale + 14) + "px";
    tip.style.top = 30 * scale + "px";
  };
  const hide = () => { cursor.style.visibility = tip.style.visibility = "hidden"; };
  svg.addEventListener("pointermove", (event) => {
    const x = (event.clientX - svg.getBoundingClientRect().left) * box.width / svg.clientWidth;
    if (x < left) hide(); else show(Math.floor((x - left) / step));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (event.key === "Escape") hide();
    if (move) { event.preventDefault(); show(at + move); }
  });
}
