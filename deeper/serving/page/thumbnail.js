// Small copies for the gallery: a session of photographs must not keep each of them unpacked.

const SIDE = 160;

/** @returns {Promise<string|null>} an object URL, or null for what this browser cannot show (HEIC, TIFF, no picture) */
export async function thumbnailOf(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    return null;
  }
  const scale = SIDE / Math.max(bitmap.width, bitmap.height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  // A digit of 28 pixels is shown as the pixels it has.
  pen.imageSmoothingEnabled = scale < 1;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const small = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  return small ? URL.createObjectURL(small) : null;
}
