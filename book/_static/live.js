// The figure "one-gate" as something to try: one constant gate g and one lag ℓ on sliders; memory, effective rate and
// budget follow. The formulas are those of the chapter, and of the picture that stands here without a script. No module:
// a browser would not load one into a page opened from the disk.
{
  const LONGEST = 50, LAGS = [...Array(LONGEST + 1).keys()], FLOOR = 1e-4; // of the axis of rates
  const GATES = [0.01, 0.9], STEPS = 200; // of a slider, in equal ratios
  const HEIGHT = 165, EDGE = { left: 36, right: 8, top: 8, bottom: 38 }; // of a plot, in CSS pixels

  const memory = (gate, lag) => (1 - gate) ** lag;
  const rate = (gate, lag) => gate * memory(gate, lag);
  const left = (gate, lag) => memory(gate, lag + 1);
  const spent = (gate, lag) => 1 - left(gate, lag);
  const matched = (lag) => 1 / (lag + 1);
  const constant = (gate) => -1 / Math.log1p(-gate); // in steps
  const gateOf = (steps) => -Math.expm1(-1 / steps);

  // What is shown is what is computed with: a gate has the three digits that one sees.
  const rounded = (x) => Number(x.toPrecision(3));
  function digits(x) {
    if (x >= 1e-3) return x.toPrecision(3);
    const [mantissa, exponent] = x.toExponential(2).split("e");
    return `${mantissa} × 10<sup>−${Math.abs(exponent)}</sup>`;
  }
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  // Positions of a slider are logarithms: slow gates and fast ones get the same room.
  const scale = ([low, high]) => ({
    at: (position) => low * (high / low) ** (position / STEPS),
    position: (value) => Math.round((STEPS * Math.log(value / low)) / Math.log(high / low)),
  });
  const byGate = scale(GATES), byConstant = scale(GATES.map(constant).reverse());

  const slider = (name, label, min, max) => `<div class="live-slider">
    <label for="live-${name}">${label}</label><output for="live-${name}" aria-live="off"></output>
    <input type="range" id="live-${name}" min="${min}" max="${max}"></div>`;
  const result = (name) => `<output name="${name}" for="live-gate live-constant live-lag" aria-live="off"></output>`;
  const plot = (name, label, formula, unit = "", more = "") => `<div class="live-plot"><p><b>${label}</b>
    <span class="live-value">${result(name)}${unit}</span><span class="live-formula">${formula}</span><span>${more}</span></p>
    <svg role="img" aria-label="${label} over lag" height="${HEIGHT}"></svg></div>`;
  const PARTS = `
    <div class="live-sliders">
      ${slider("gate", "Gate <i>g</i>", 0, STEPS)}
      ${slider("constant", "Time constant <i>τ</i><sub>mem</sub>", 0, STEPS)}
      ${slider("lag", "Lag <i>ℓ</i>", 1, LONGEST)}
    </div>
    <div class="live-plots">
      ${plot("memory", "Memory", "(1 − <i>g</i>)<sup><i>ℓ</i></sup>")}
      ${plot("rate", "Effective rate", "<i>μ</i> <i>g</i> (1 − <i>g</i>)<sup><i>ℓ</i></sup>", "&nbsp;<i>μ</i>")}
      ${plot("spent", "Budget spent", "1 − (1 − <i>g</i>)<sup><i>ℓ</i> + 1</sup>", "", `${result("left")} left`)}
    </div>
    <p class="live-says">The most that a constant gate can give this lag is ${result("most")}&nbsp;<i>μ</i>, with the matched gate
      ${result("matched")}. Yours gives ${result("share")} of it. <button type="button">Match the gate</button></p>
    <p class="visually-hidden" role="status"></p>`;

  function draw(svg, curve, lag, { log = false, bound = null, stick = false } = {}) {
    const right = svg.clientWidth - EDGE.right, bottom = HEIGHT - EDGE.bottom;
    const x = (l) => (EDGE.left + ((right - EDGE.left) * l) / LONGEST).toFixed(1);
    const height = (v) => (log ? 1 - Math.log(Math.max(v, FLOOR / 10)) / Math.log(FLOOR) : v);
    const y = (v) => (bottom - (bottom - EDGE.top) * height(v)).toFixed(1);
    const line = (kind, f) => `<polyline class="${kind}" points="${LAGS.map((l) => `${x(l)},${y(f(l))}`).join(" ")}"/>`;
    const text = (x, y, content, more) => `<text x="${x}" y="${y}" ${more}>${content}</text>`;
    const value = (v) => (log && v < 1 ? `10<tspan class="power">−${Math.round(-Math.log10(v))}</tspan>` : v);
    const bar = (kind, from, to) =>
      `<rect class="${kind}" x="${x(lag) - 4}" width="8" y="${y(to)}" height="${y(from) - y(to)}"/>`;
    const parts = [];
    for (const v of log ? [1, 1e-1, 1e-2, 1e-3, 1e-4] : [0, 0.5, 1]) {
      parts.push(`<path class="grid" d="M${x(0)} ${y(v)}H${right}"/>`);
      parts.push(text(EDGE.left - 6, y(v), value(v), 'dy=".35em" text-anchor="end"'));
    }
    for (const l of LAGS.filter((l) => l % 10 === 0)) parts.push(text(x(l), bottom + 16, l, 'text-anchor="middle"'));
    parts.push(text(x(LONGEST / 2), bottom + 32, 'lag <tspan class="symbol">ℓ</tspan>', 'text-anchor="middle"'));
    parts.push(`<svg width="${svg.clientWidth}" height="${bottom}">`); // what is below the axis is cut off
    if (bound) {
      parts.push(line("band", bound), line("bound", bound));
      parts.push(text(right, y(bound(LONGEST)), "envelope", 'dy="-.8em" text-anchor="end"'));
    }
    parts.push(`<path class="chosen" d="M${x(lag)} ${EDGE.top}V${bottom}"/>`);
    if (stick) parts.push(bar("rest", curve(lag), 1), bar("given", 0, curve(lag)));
    parts.push(line("curve", curve), "</svg>");
    if (!log || curve(lag) > FLOOR) parts.push(`<circle class="here" cx="${x(lag)}" cy="${y(curve(lag))}" r="4.5"/>`);
    svg.innerHTML = parts.join("");
  }

  function enliven(figure) {
    const live = document.createElement("div");
    live.className = "live";
    live.setAttribute("role", "group");
    live.setAttribute("aria-label", "Sliders, and plots that follow them");
    live.innerHTML = PARTS;
    figure.querySelector(".twins").after(live);
    figure.classList.add("is-live");

    const find = (selector) => live.querySelector(selector);
    const sliders = { gate: find("#live-gate"), constant: find("#live-constant"), lag: find("#live-lag") };
    const plots = [...live.querySelectorAll("svg")];
    const status = find("[role=status]");
    let gate = 0.2, lag = 10, later;

    function picture() {
      draw(plots[0], (l) => memory(gate, l), lag);
      draw(plots[1], (l) => rate(gate, l), lag, { log: true, bound: (l) => rate(matched(l), l) });
      draw(plots[2], (l) => spent(gate, l), lag, { stick: true });
    }

    function show() {
      const most = rate(matched(lag), lag);
      const steps = (n) => `${n} ${n === 1 ? "step" : "steps"}`;
      const texts = { gate: digits(gate), constant: steps(digits(constant(gate))), lag: steps(lag) };
      const positions = { gate: byGate.position(gate), constant: byConstant.position(constant(gate)), lag };
      for (const [name, input] of Object.entries(sliders)) {
        input.value = positions[name];
        input.setAttribute("aria-valuetext", texts[name]);
        input.previousElementSibling.value = texts[name];
      }
      const results = {
        memory: digits(memory(gate, lag)), rate: digits(rate(gate, lag)), spent: percent(spent(gate, lag)),
        left: percent(left(gate, lag)), most: digits(most), matched: digits(matched(lag)), share: percent(rate(gate, lag) / most),
      };
      for (const [name, text] of Object.entries(results)) find(`output[name=${name}]`).innerHTML = text;
      picture();
      return results;
    }

    function change(next) {
      ({ gate, lag } = { gate, lag, ...next });
      gate = Math.min(Math.max(rounded(gate), GATES[0]), GATES[1]);
      const now = show();
      clearTimeout(later); // a screen reader hears where the sliders came to rest, and not each step of the way
      later = setTimeout(() => {
        const shares = `${now.share} of the most; budget spent ${now.spent}`;
        status.innerHTML = `Memory ${now.memory}, effective rate ${now.rate} μ, ${shares}.`;
      }, 700);
    }

    sliders.gate.oninput = () => change({ gate: byGate.at(sliders.gate.value) });
    sliders.constant.oninput = () => change({ gate: gateOf(byConstant.at(sliders.constant.value)) });
    sliders.lag.oninput = () => change({ lag: Number(sliders.lag.value) });
    find("button").onclick = () => change({ gate: matched(lag) });
    new ResizeObserver(picture).observe(live);
    show();
  }

  const figure = document.getElementById("fig-one-gate");
  if (figure) enliven(figure);
}
