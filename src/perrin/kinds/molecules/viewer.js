// Balls and sticks on a canvas: drag to rotate, wheel to zoom, arrows for the next molecule, a slider for steps.
(function (root) {
  "use strict";
  // per element: colour and radius in angstrom (about a third of the van der Waals radius)
  const LOOK = {
    H: ["#f2f2f2", 0.26], C: ["#5b5f66", 0.38], N: ["#3b63d8", 0.37], O: ["#d93a34", 0.36], F: ["#63c163", 0.34],
    P: ["#e58a1f", 0.45], S: ["#dfbd2b", 0.45], Cl: ["#2fae4e", 0.44], Br: ["#9a4a2b", 0.47], I: ["#7a3f9d", 0.51],
    B: ["#e8a79b", 0.4], Si: ["#c9b28a", 0.46], "*": ["#c8b8e0", 0.3],
  };
  const OTHER = ["#c06ab0", 0.46];
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const canvas = root.querySelector("canvas"), context = canvas.getContext("2d");
  const find = (name) => root.querySelector("." + name);
  const slider = find("steps"), play = find("play");
  let shown = 0, frame = 0, zoom = 1, timer = null, sprites = {};
  let turn = product(rotation(0.35, [1, 0, 0]), rotation(-0.3, [0, 1, 0])); // a little aside of the widest view

  function rotation(angle, [x, y, z]) {
    const c = Math.cos(angle), s = Math.sin(angle), t = 1 - c;
    return [
      t * x * x + c, t * x * y - s * z, t * x * z + s * y,
      t * x * y + s * z, t * y * y + c, t * y * z - s * x,
      t * x * z - s * y, t * y * z + s * x, t * z * z + c,
    ];
  }
  function product(a, b) {
    const found = new Array(9);
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++)
      found[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
    return found;
  }
  function look(element) { return LOOK[element] || OTHER; }
  function sprite(element) {
    if (sprites[element]) return sprites[element];
    const made = document.createElement("canvas"), pen = made.getContext("2d"), size = 96, r = size / 2;
    made.width = made.height = size;
    const shade = pen.createRadialGradient(r * 0.7, r * 0.62, r * 0.08, r, r, r);
    shade.addColorStop(0, "#ffffff"); shade.addColorStop(0.28, look(element)[0]);
    shade.addColorStop(0.8, look(element)[0]); shade.addColorStop(1, "#22242a");
    pen.fillStyle = shade; pen.beginPath(); pen.arc(r, r, r - 1, 0, 7); pen.fill();
    return (sprites[element] = made);
  }
  function extent(molecule) {
    const x = molecule.frames[molecule.frames.length - 1].x;
    let most = 1;
    for (let i = 0; i < x.length; i += 3) most = Math.max(most, Math.hypot(x[i], x[i + 1], x[i + 2]));
    return most + 0.7;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, wide = canvas.clientWidth, high = canvas.clientHeight;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio); canvas.height = Math.round(high * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, high);
    const molecule = data[shown], state = molecule.frames[frame], x = state.x, radius = extent(molecule);
    const elements = state.e || molecule.frames[molecule.frames.length - 1].e;
    const scale = (Math.min(wide, high) / 2 / radius) * zoom, eye = 5 * radius;
    const atoms = elements.map((element, i) => {
      const [a, b, c] = [x[3 * i], x[3 * i + 1], x[3 * i + 2]];
      const z = turn[6] * a + turn[7] * b + turn[8] * c, near = eye / Math.max(eye - z, 0.2 * eye);
      return {
        element, z, near, radius: look(element)[1] * scale * near,
        x: wide / 2 + (turn[0] * a + turn[1] * b + turn[2] * c) * scale * near,
        y: high / 2 - (turn[3] * a + turn[4] * b + turn[5] * c) * scale * near,
      };
    });
    const parts = atoms.map((atom) => ({ z: atom.z, paint: () => ball(atom) }));
    for (const [i, j, order] of state.b) for (const [from, to] of [[atoms[i], atoms[j]], [atoms[j], atoms[i]]])
      parts.push({ z: 0.75 * from.z + 0.25 * to.z - 0.05, paint: () => stick(from, to, order, scale) });
    parts.sort((a, b) => a.z - b.z).forEach((part) => part.paint());
  }
  function ball(atom) {
    context.drawImage(sprite(atom.element), atom.x - atom.radius, atom.y - atom.radius, 2 * atom.radius, 2 * atom.radius);
  }
  // half a bond, from an atom to the middle; orders 2 and 3 as parallel sticks
  function stick(from, to, order, scale) {
    const dx = to.x - from.x, dy = to.y - from.y, length = Math.hypot(dx, dy) || 1;
    const far = Math.hypot(length, (to.z - from.z) * scale * from.near) || 1;
    const sx = from.x + (dx / far) * 0.9 * from.radius, sy = from.y + (dy / far) * 0.9 * from.radius; // at the ball's surface
    const width = (order === 1 ? 0.2 : 0.13) * scale * from.near, gap = 0.2 * scale * from.near;
    for (let k = 0; k < order; k++) {
      const off = (k - (order - 1) / 2) * gap, ox = (-dy / length) * off, oy = (dx / length) * off;
      for (const [colour, thick] of [["#2b2d33", width], [look(from.element)[0], 0.72 * width]]) {
        context.strokeStyle = colour; context.lineWidth = thick; context.lineCap = "butt";
        context.beginPath(); context.moveTo(sx + ox, sy + oy);
        context.lineTo(from.x + dx / 2 + ox, from.y + dy / 2 + oy); context.stroke();
      }
    }
  }

  function show(index) {
    shown = (index + data.length) % data.length;
    const molecule = data[shown], steps = molecule.frames.length - 1;
    frame = steps;
    find("number").textContent = `${shown + 1} of ${data.length}`;
    const caption = find("caption");
    caption.replaceChildren(...molecule.c.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    caption.classList.toggle("unsound", !molecule.ok);
    find("slide").hidden = steps < 1;
    slider.max = steps; slider.value = steps;
    step(steps);
  }
  function step(index) {
    frame = Number(index); slider.value = index;
    find("step").textContent = `step ${index} of ${slider.max}`;
    draw();
  }
  function stop() { clearInterval(timer); timer = null; play.textContent = "Play"; }

  find("previous").onclick = () => show(shown - 1);
  find("next").onclick = () => show(shown + 1);
  find("navigate").hidden = data.length < 2;
  slider.oninput = () => { stop(); step(slider.value); };
  play.onclick = () => {
    if (timer) return stop();
    if (frame >= slider.max) step(0);
    play.textContent = "Stop";
    timer = setInterval(() => (frame < slider.max ? step(frame + 1) : stop()), 80);
  };
  canvas.onkeydown = (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      show(shown + (event.key === "ArrowRight" ? 1 : -1)); event.preventDefault();
    }
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); canvas.classList.add("held"); };
  canvas.onpointerup = () => canvas.classList.remove("held");
  canvas.onpointermove = (event) => {
    if (!event.buttons) return;
    turn = product(rotation(event.movementX * 0.01, [0, 1, 0]), turn);
    turn = product(rotation(event.movementY * 0.01, [1, 0, 0]), turn);
    draw();
  };
  canvas.addEventListener("wheel", (event) => {
    zoom = Math.min(8, Math.max(0.2, zoom * Math.exp(-event.deltaY * 0.001)));
    event.preventDefault(); draw();
  }, { passive: false });
  new ResizeObserver(draw).observe(canvas);
  show(0);
})(document.currentScript.closest(".molecules"));
