// The review as the server has it. Nothing changes here before the server has answered.

const PATIENCE_MS = 15000;

// Said by the server, which is there and refuses; everything else may have been done or not.
export class Refusal extends Error {}

export class Keeping {
  constructor() {
    this.survey = null;
    this.cracks = new Map();
    this.progress = { open: [], done: false, reviewers: [], actions: [], revision: 0, stale: 0 };
    this.busy = false;
    this.unsure = null; // an action that got no answer, and the revision before it
  }

  async open() {
    this.survey = await asked("/api/survey");
    await this.refresh();
  }

  // Whether something had changed.
  async refresh() {
    const before = this.progress.revision;
    const { cracks, ...progress } = await asked("/api/review");
    // An answer that was overtaken by an action's own.
    if (this.busy || progress.revision < this.progress.revision) return false;
    this.cracks = new Map(cracks.map((crack) => [crack.id, crack]));
    this.progress = progress;
    return progress.revision !== before;
  }

  // Sends an action; returns the result.
  async act(reviewer, action) {
    this.busy = true;
    try {
      if (this.unsure && isSame(this.unsure.body, { reviewer, ...action })) {
        const found = await this.foundAfterAll();
        if (found) return found;
      }
      const body = { reviewer, ...action };
      const before = this.progress.revision;
      let answer;
      try {
        answer = await asked("/api/actions", body);
      } catch (error) {
        this.unsure = error instanceof Refusal ? null : { body, revision: before };
        throw error;
      }
      this.unsure = null;
      const { changed, gone, ...progress } = answer;
      if (progress.revision !== before + 1) {
        // Another reviewer's changes in the meantime are not in this answer.
        await this.reload().catch(() => this.take(changed, gone, progress));
      } else {
        this.take(changed, gone, progress);
      }
      return { changed, gone, last: progress.actions[progress.actions.length - 1] };
    } finally {
      this.busy = false;
    }
  }

  take(changed, gone, progress) {
    for (const id of gone) this.cracks.delete(id);
    for (const crack of changed) this.cracks.set(crack.id, crack);
    this.progress = progress;
  }

  async reload() {
    const { cracks, ...progress } = await asked("/api/review");
    this.cracks = new Map(cracks.map((crack) => [crack.id, crack]));
    this.progress = progress;
  }

  // An action without an answer may have been saved anyway, and is not repeated.
  async foundAfterAll() {
    const { body, revision } = this.unsure;
    const before = new Set(this.cracks.keys());
    await this.reload();
    const made = this.progress.actions.filter((each) => each.number > revision);
    const found = made.find((each) => Object.entries(body).every(([name, value]) =>
      ["points", "at", "revision"].includes(name) || JSON.stringify(each[name]) === JSON.stringify(value)));
    this.unsure = null;
    if (!found) return null;
    const changed = [...this.cracks.values()].filter((crack) => !before.has(crack.id));
    return { changed, gone: [], last: found };
  }
}

// Whether two actions are one and the same, whatever they were made on.
export const isSame = (one, other) => JSON.stringify({ ...one, revision: 0 }) === JSON.stringify({ ...other, revision: 0 });

// Whether the server says anything at all of an address.
export const answers = (address) => fetch(address).then(() => true, () => false);

async function asked(address, body) {
  const request = { signal: AbortSignal.timeout?.(PATIENCE_MS) };
  if (body) {
    request.method = "POST";
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let answer;
  let said;
  try {
    answer = await fetch(address, request);
    said = await answer.json().catch(() => null);
  } catch {
    throw new Error("The review's server does not answer. Is edgecrack review still running?");
  }
  if (answer.ok && said) return said;
  if (answer.status === 401) {
    throw new Refusal("You are signed out. Open this page in another tab, sign in there, and come back.");
  }
  const text = said?.error ?? `The server answered ${answer.status}.`;
  throw answer.status < 500 ? new Refusal(text) : new Error(text);
}
