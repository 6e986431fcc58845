// The camera: frames at a steady rate, one request on its way, and the camera let go of as soon as it is not looked at.

import { Problem } from "./api.js";
import { Live } from "./live.js";
import { keep } from "./queue.js";
import { say } from "./speak.js";
import { on, state, tell } from "./state.js";

const at = (id) => document.getElementById(id);
const EVERY = 200;
// Longer side of a frame that is sent: more than any model of ours looks at.
const SIDE = 640;

export function startCamera() {
  const video = at("video");
  const canvas = document.createElement("canvas");
  const live = new Live({ source: "camera", take, every: EVERY, steady: true });
  let stream = null;
  let opening = 0; // which opening is the current one: a slow permission must not start a camera that was stopped
  let kept = 0;
  let answered = [];

  async function take() {
    if (!video.videoWidth) return null;
    const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.92); });
    return { name: "camera", blob };
  }

  async function start(device = "") {
    stop();
    opening += 1;
    const mine = opening;
    if (!navigator.mediaDevices) {
      refuse("Browsers give a camera only to pages from this machine (localhost) or over https.");
      return;
    }
    // Not `disabled`, under which the focus would be lost while the browser asks for permission.
    at("camera").setAttribute("aria-disabled", "true");
    try {
      const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
      const which = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
      const opened = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which }, audio: false });
      if (mine !== opening) {
        for (const track of opened.getTracks()) track.stop();
        return;
      }
      stream = opened;
      if (document.hidden) {
        stop();
        tell("live-nothing", "camera");
        return;
      }
    } catch (error) {
      if (mine === opening) refuse(reason(error));
      return;
    } finally {
      at("camera").removeAttribute("aria-disabled");
    }
    // Pulled out, or taken away by the system.
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      stop();
      refuse("The camera is gone.");
    });
    video.srcObject = stream;
    video.hidden = false;
    at("camera-invite").hidden = true;
    at("camera").textContent = "Stop the camera";
    await Promise.all([video.play().catch(() => {}), list()]);
    if (mine !== opening) return;
    say("The camera is on.");
    live.nudge();
  }

  function stop() {
    opening += 1;
    live.stop();
    answered = [];
    at("rate").textContent = "";
    at("keep-frame").disabled = true;
    if (!stream) return;
    for (const track of stream.getTracks()) track.stop();
    stream = null;
    video.srcObject = null;
    video.hidden = true;
    at("camera-invite").hidden = false;
    at("camera").textContent = "Start the camera";
    at("cameras").hidden = true;
    say("The camera is off.");
  }

  async function list() {
    const all = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput");
    const used = stream?.getVideoTracks()[0]?.getSettings().deviceId;
    at("cameras").replaceChildren(
      ...all.map((one, place) => new Option(one.label || `Camera ${place + 1}`, one.deviceId, false, one.deviceId === used)),
    );
    at("cameras").hidden = all.length < 2 || !stream;
  }

  function refuse(line) {
    tell("live-problem", { source: "camera", error: new Problem(line) });
  }

  at("camera").addEventListener("click", () => {
    if (at("camera").hasAttribute("aria-disabled")) return;
    if (!stream) {
      start();
      return;
    }
    stop();
    tell("live-nothing", "camera");
  });
  at("cameras").addEventListener("change", () => start(at("cameras").value));
  at("keep-frame").addEventListener("click", () => {
    if (!live.latest) return;
    kept += 1;
    keep({ ...live.latest, name: `frame ${kept}`, source: "camera" });
    say(`Frame ${kept} kept.`);
  });
  on("live", ({ source }) => {
    if (source !== "camera") return;
    at("keep-frame").disabled = false;
    answered = [...answered.slice(-9), performance.now()];
    const rate = (1000 * (answered.length - 1)) / (answered.at(-1) - answered[0]);
    at("rate").textContent = answered.length > 3 ? `${rate.toFixed(1)} a second` : "";
  });
  // A page that goes into the back-forward cache would hold on to it.
  addEventListener("pagehide", stop);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden || !stream) return;
    stop();
    tell("live-nothing", "camera");
  });
  // Another model: the next frame asks it.
  on("model", () => { if (stream && state.source === "camera") live.nudge(); });
  return { stop };
}

function reason(error) {
  return {
    NotAllowedError: "The browser was not allowed to use the camera; allow it in the address bar and start again.",
    NotFoundError: "There is no camera on this device.",
    NotReadableError: "The camera is in use by something else.",
    OverconstrainedError: "That camera is not there any more.",
  }[error.name] ?? "The camera did not start.";
}
