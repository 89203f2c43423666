// Helpers: numbers as text, and requests.

export function put(id, text) {
  const element = document.getElementById(id);
  const value = String(text);
  // Only changes: a screen reader would repeat the rest.
  if (element.textContent !== value) element.textContent = value;
}

export const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString([], { hour12: false });

export function mediaTime(milliseconds) {
  const seconds = milliseconds / 1000;
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

// When something was seen: recording position, else time of day, else frame number.
export function moment(timeNs, mediaMs, frame) {
  if (mediaMs !== null) return mediaTime(mediaMs);
  return timeNs === null ? `frame ${count(frame)}` : clock(timeNs / 1e6);
}

export function count(number) {
  if (number >= 10e6) return `${(number / 1e6).toFixed(1)} M`;
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
}

// [number, unit]
export function bytes(number) {
  if (number === null || number === undefined) return ["–", ""];
  const units = ["B", "kB", "MB", "GB", "TB"];
  let index = 0;
  while (number >= 1000 && index < units.length - 1) {
    number /= 1000;
    index += 1;
  }
  return [number < 10 && index > 1 ? number.toFixed(1) : String(Math.round(number)), units[index]];
}

export async function get(address) {
  return checked(await fetch(address)).then((answer) => answer.json());
}

export async function post(address, body) {
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The robot does not respond.");
  }
  return checked(answer);
}

async function checked(answer) {
  if (answer.ok) return answer;
  if (answer.status === 401) location.reload();
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error ?? `The robot answered ${answer.status}.`);
}
