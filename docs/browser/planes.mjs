// Pictures of one plane each, side by side.

/** The range of grey of a picture: its lowest value, and the value that one voxel in a thousand exceeds. */
export function rangeOf(values) {
  const step = Math.max(1, Math.floor(values.length / 100000));
  const some = [];
  for (let index = 0; index < values.length; index += step) if (Number.isFinite(values[index])) some.push(values[index]);
  some.sort((a, b) => a - b);
  return [some[0] ?? 0, some[Math.floor(some.length * 0.999)] ?? 1];
}

/** Make a figure with a canvas for each of `pictures`, [{title, data}]; returns a function that shows a plane. */
export function showPictures(container, pictures, [planes, height, width]) {
  container.replaceChildren();
  const shown = pictures.map(({ title, data }) => {
    const range = rangeOf(data);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const caption = document.createElement("figcaption");
    const [low, high] = range.map((value) => Number(value.toPrecision(4)));
    caption.textContent = `${title}, black ${low}, white ${high}`;
    const figure = document.createElement("figure");
    figure.append(canvas, caption);
    container.append(figure);
    return { canvas, data, range };
  });
  return (plane) => {
    const start = Math.min(plane, planes - 1) * height * width;
    for (const { canvas, data, range } of shown) draw(canvas, data.subarray(start, start + height * width), range);
  };
}

function draw(canvas, values, [low, high]) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const scale = 255 / (high > low ? high - low : 1);
  for (let index = 0; index < values.length; index++) {
    // The array clamps values outside its range.
    const grey = (values[index] - low) * scale;
    pixels.data.set([grey, grey, grey, 255], index * 4);
  }
  context.putImageData(pixels, 0, 0);
}
