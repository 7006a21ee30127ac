// Pictures on canvases: starting noise, previews, and the frames of a denoising strip.

const GAP = 2; // pixels between the frames of strip.png and the pictures of grid.png, in both directions

/**
 * A strip.png as frames: `strip.draw(canvas, row, frame)`. Row i is image i, noise first. It is enlarged
 * whole, gaps and all, and less than its pictures where it would be too large.
 */
export class Strip {
  /** Of `rows` pictures that are drawn `width` by `height`, before they are enlarged. */
  constructor(bitmap, { width, height, rows, steps }) {
    const scale = Math.round(bitmap.height / (rows * (height + GAP) - GAP));
    Object.assign(this, { bitmap, steps, width: width * scale, height: height * scale, gap: GAP * scale });
    this.frames = Math.round((bitmap.width + this.gap) / (this.width + this.gap));
  }

  static async of(blob, facts) {
    return new Strip(await createImageBitmap(blob), facts);
  }

  draw(canvas, row, frame) {
    const { width, height, gap } = this;
    size(canvas, width, height);
    const [left, top] = [frame * (width + gap), row * (height + gap)];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(this.bitmap, left, top, width, height, 0, 0, width, height);
  }

  /** The sampler's step that a frame stands before. */
  step(frame) {
    return this.frames < 2 ? this.steps : Math.round((frame * this.steps) / (this.frames - 1));
  }
}

export async function drawBlob(canvas, blob) {
  const bitmap = await createImageBitmap(blob);
  drawBitmap(canvas, bitmap);
}

export function drawBitmap(canvas, bitmap) {
  size(canvas, bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
}

/** A grid.png of `count` pictures; the gutters between them are left clear, whatever lies behind. */
export function drawSheet(canvas, bitmap, count) {
  const columns = Math.ceil(Math.sqrt(count));
  const rows = Math.ceil(count / columns);
  const width = (bitmap.width + GAP) / columns - GAP;
  const height = (bitmap.height + GAP) / rows - GAP;
  size(canvas, bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, bitmap.width, bitmap.height);
  for (let i = 0; i < count; i++) {
    const [x, y] = [(i % columns) * (width + GAP), Math.floor(i / columns) * (height + GAP)];
    context.drawImage(bitmap, x, y, width, height, x, y, width, height);
  }
}

export function fromBase64(text, type = "image/png") {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type }));
}

/** What every picture begins as, until its first preview comes. */
export function drawNoise(canvas, { width, height, channels }) {
  size(canvas, width, height);
  const noise = new ImageData(width, height);
  for (let i = 0; i < noise.data.length; i += 4) {
    const grey = level();
    for (let c = 0; c < 3; c++) noise.data[i + c] = channels === 1 ? grey : level();
    noise.data[i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(noise, 0, 0);
}

function level() {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return Math.max(0, Math.min(255, (normal + 1) * 127.5));
}

function size(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
