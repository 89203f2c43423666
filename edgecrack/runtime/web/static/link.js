// The connection to the robot: one WebSocket that reconnects automatically.
// Confirms each shown picture; the robot sends the next one only then.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const FULL_WAIT_MS = 10000;
const SILENCE_MS = 6000;
const HIDDEN_MS = 10000;
const FULL = 4001;

export class Link {
  // `on` has status(object), picture(ArrayBuffer) -> Promise of the number shown,
  // and change(state, reason, wait in ms); state is "open", "waiting" or "full".
  constructor(on) {
    this.on = on;
    this.waitMs = FIRST_WAIT_MS;
    this.socket = null;
    this.timer = 0;
    this.heardAt = 0;
    setInterval(() => this.checkSilence(), 1000);
    document.addEventListener("visibilitychange", () => this.visibility());
    addEventListener("online", () => this.retry());
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardAt = performance.now();
    let heard = false;
    socket.onmessage = async (event) => {
      this.heardAt = performance.now();
      if (!heard) {
        heard = true;
        this.waitMs = FIRST_WAIT_MS;
        this.on.change("open", "", 0);
      }
      if (typeof event.data === "string") {
        this.on.status(JSON.parse(event.data));
        return;
      }
      const number = await this.on.picture(event.data);
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ shown: number }));
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.closed(event.code, event.reason, heard);
    };
  }

  // Reconnect now, without waiting.
  retry() {
    if (this.socket) return;
    this.waitMs = FIRST_WAIT_MS;
    this.open();
  }

  closed(code, reason, heard) {
    this.socket = null;
    if (document.hidden) return;
    if (!heard && code === 1006) this.checkToken();
    const full = code === FULL;
    const waitMs = full ? FULL_WAIT_MS : this.waitMs * (0.8 + 0.4 * Math.random());
    this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
    this.on.change(full ? "full" : "waiting", reason, waitMs);
    this.timer = setTimeout(() => this.open(), waitMs);
  }

  // A refused WebSocket looks like a dead one; only a request shows which it is.
  async checkToken() {
    try {
      if ((await fetch("/api/status")).status === 401) location.reload();
    } catch {
      return;
    }
  }

  checkSilence() {
    if (this.socket && performance.now() - this.heardAt > SILENCE_MS) {
      const socket = this.socket;
      this.socket = null;
      socket.close();
      this.closed(0, "", true);
    }
  }

  // A hidden page is not watched, so the robot need not send to it.
  visibility() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        clearTimeout(this.timer);
        if (this.socket) this.socket.close();
      }, HIDDEN_MS);
    } else {
      this.retry();
    }
  }
}
