// Paints a mask over a picture: by mouse, pen, finger or keys; every stroke can be taken back.

const OPAQUE = "#d4401f";

export class Brush {
  /** `canvas` lies over the picture; `size()` is the brush's width in hundredths of its width. */
  constructor(canvas, { size, onChange }) {
    Object.assign(this, { canvas, size, onChange });
    this.context = canvas.getContext("2d");
    this.lay(1, 1);
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => (this.stroke = null));
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const change of ["focus", "blur"]) canvas.addEventListener(change, () => this.#paint());
  }

  /** Begin anew over a picture of this size; `mask`, if there is one, is white where painted. */
  lay(width, height, mask = null) {
    Object.assign(this.canvas, { width, height });
    this.strokes = [];
    this.stroke = null;
    this.cursor = { x: width / 2, y: height / 2 };
    this.base = mask && whiteOnly(mask, width, height);
    this.#paint();
  }

  get empty() {
    return !this.strokes.length && !this.base;
  }

  undo() {
    if (!this.strokes.pop()) this.base = null;
    this.#changed();
  }

  /** A PNG as a data: URI, white where painted and black elsewhere. */
  mask() {
    const { width, height } = this.canvas;
    const canvas = sheet(width, height);
    const context = canvas.getContext("2d");
    this.#strokesOn(context);
    const image = context.getImageData(0, 0, width, height);
    for (let i = 0; i < image.data.length; i += 4) {
      image.data.fill(image.data[i + 3] >= 128 ? 255 : 0, i, i + 3);
      image.data[i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas.toDataURL("image/png");
  }

  get #radius() {
    return Math.max(1, (this.size() / 200) * this.canvas.width);
  }

  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke = { radius: this.#radius, points: [] };
    this.strokes.push(this.stroke);
    this.#move(event);
  }

  #move(event) {
    if (!this.stroke) return;
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    this.cursor = { x, y };
    this.stroke.points.push(this.cursor);
    this.#changed();
  }

  #key(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      event.preventDefault();
      return this.undo();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = this.canvas;
    const by = Math.max(1, this.#radius);
    const [x, y] = {
      ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by], " ": [0, 0],
    }[event.key] ?? [];
    if (x === undefined) return;
    event.preventDefault();
    this.cursor = {
      x: Math.max(0, Math.min(width, this.cursor.x + x)),
      y: Math.max(0, Math.min(height, this.cursor.y + y)),
    };
    if (event.key === " ") this.strokes.push({ radius: this.#radius, points: [this.cursor] });
    this.#changed();
  }

  #changed() {
    this.#paint();
    this.onChange();
  }

  #paint() {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    this.#strokesOn(context);
    if (document.activeElement !== canvas || !canvas.matches(":focus-visible")) return;
    context.strokeStyle = "#fff";
    context.lineWidth = Math.max(0.5, canvas.width / 100);
    context.beginPath();
    context.arc(this.cursor.x, this.cursor.y, this.#radius, 0, 2 * Math.PI);
    context.stroke();
  }

  #strokesOn(context) {
    if (this.base) context.drawImage(this.base, 0, 0);
    Object.assign(context, { fillStyle: OPAQUE, strokeStyle: OPAQUE, lineCap: "round", lineJoin: "round" });
    for (const { radius, points } of this.strokes) {
      context.beginPath();
      context.arc(points[0].x, points[0].y, radius, 0, 2 * Math.PI);
      context.fill();
      context.lineWidth = 2 * radius;
      context.beginPath();
      for (const { x, y } of points) context.lineTo(x, y);
      context.stroke();
    }
  }
}

/** A mask's white as paint, and nothing of its black. */
function whiteOnly(mask, width, height) {
  const canvas = sheet(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(mask, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  for (let i = 0; i < image.data.length; i += 4) {
    const painted = image.data[i] >= 128;
    image.data.set([0xd4, 0x40, 0x1f, painted ? 255 : 0], i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function sheet(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}
