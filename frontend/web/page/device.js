// What a browser offers and no rule depends on: IndexedDB, Web Locks, the service worker, notifications. Plain JavaScript, because bindings for it would
// be many times as much to load; `driver/device.rs` has the other side. Each may be missing, and the page then does without.

// ---- What is kept of the conversations: one store, a row each, and the row "head" ----

let opened;

const open = () => opened ??= new Promise((resolve, reject) => {
  const asked = indexedDB.open("quorate", 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore("kept", { keyPath: "key" });
  asked.onsuccess = () => {
    // A later page may want another store.
    asked.result.onversionchange = () => {
      asked.result.close();
      opened = undefined;
    };
    resolve(asked.result);
  };
  asked.onerror = () => reject(asked.error);
});

const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const store = async (mode) => (await open()).transaction("kept", mode).objectStore("kept");

// The head and the rows that are its own; nothing where nothing is kept.
const kept = async () => {
  try {
    const all = await answer((await store("readonly")).getAll());
    const head = all.find((row) => row.key === "head");
    return head ? [head, ...all.filter((row) => row.key.startsWith(head.prefix))].map((row) => row.text) : [];
  } catch {
    return [];
  }
};

// The same, but nothing where a browser has better things to do: somebody who is served does not wait for it.
const soon = (kept) => Promise.race([kept, new Promise((resolve) => setTimeout(resolve, 1000, []))]);

// One transaction: rows come and go together with the head that says of when they are. `rows` has four things a row.
const keep = async (prefix, head, stay, rows) => {
  try {
    const all = await store("readwrite");
    all.put({ key: "head", prefix, text: head });
    const stays = new Set(stay.split(",").map((id) => prefix + id));
    all.getAllKeys().onsuccess = ({ target }) => {
      target.result.filter((key) => key !== "head" && !stays.has(key)).forEach((key) => all.delete(key));
    };
    for (let at = 0; at < rows.length; at += 4) {
      const [id, version, full, text] = rows.slice(at, at + 4);
      const key = prefix + id;
      // Another window may know more.
      all.get(key).onsuccess = ({ target }) => {
        const there = target.result;
        if (there && (there.version > version || (there.version === version && there.full && !full))) return;
        all.put({ key, version, full, text });
      };
    }
  } catch {
    // A full or forbidden storage: the next page begins with nothing.
  }
};

// What is kept of those whose prefix begins so, head and rows: another window may keep for somebody else already.
const forget = async (prefix) => {
  try {
    const all = await store("readwrite");
    all.get("head").onsuccess = ({ target }) => {
      if (target.result?.prefix.startsWith(prefix)) all.delete("head");
    };
    all.getAllKeys().onsuccess = ({ target }) => {
      target.result.filter((key) => key !== "head" && key.startsWith(prefix)).forEach((key) => all.delete(key));
    };
  } catch {
    // Then there is nothing to forget.
  }
};

// ---- Windows of one person: each holds a lock for as long as it lives and is awake ----

const locks = navigator.locks;
const lockOf = (window) => `quorate.window.${window}`;
let leave = () => {};
let waits = new AbortController();

// Begins a life and ends the one before. Its name; empty where there are no locks.
const live = () => {
  leave();
  if (!locks) return "";
  const name = crypto.randomUUID();
  const life = new Promise((resolve) => { leave = resolve; });
  locks.request(lockOf(name), () => life).catch(() => {});
  return name;
};

// Runs once that window is gone, in one of those who wait at a time; at once where there are no locks. Who falls asleep waits no more.
const after = (name, run) => {
  if (!locks) return run();
  locks.request(lockOf(name), { signal: waits.signal }, () => run()).catch(() => {});
};

// A window that is put to sleep keeps its lock in some browsers, and gets those that it waits for: others would wait for it. So it ends its
// life and stands in no queue. A phone freezes, going back and forth stores a page; a browser may say both of one sleep.
const listenToSleep = (tell) => {
  let isAwake = true;
  const sleep = () => {
    if (!isAwake) return;
    isAwake = false;
    tell("asleep", "");
    leave();
    waits.abort();
    waits = new AbortController();
  };
  const wake = () => {
    if (isAwake) return;
    isAwake = true;
    tell("awake", "");
  };
  document.addEventListener("freeze", sleep);
  document.addEventListener("resume", wake);
  addEventListener("pagehide", ({ persisted }) => persisted && sleep());
  addEventListener("pageshow", ({ persisted }) => persisted && wake());
};

// ---- The worker that shows the page without a network ----

const UPDATE_MS = 1800000;
let registration;

// Whether a worker is of another build than this page. One of the same may take over at once: nobody would see a difference.
const judge = (worker, tell) => {
  if (!worker) return;
  const here = document.querySelector("meta[name=quorate-build]").content;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    port1.close();
    if (data === here) worker.postMessage("swap");
    else tell("update", "");
  };
  worker.postMessage("build", [port2]);
};

// Judges a worker once it is installed.
const attended = new WeakSet();
const attend = (fresh, tell) => {
  if (!fresh || attended.has(fresh)) return;
  attended.add(fresh);
  fresh.addEventListener("statechange", () => {
    // The first of all waits for nobody.
    if (fresh.state === "installed" && registration.active) judge(fresh, tell);
  });
};

// A server that has no worker wants none: what was registered goes, with all it stored.
const check = async () => {
  try {
    await registration.update();
  } catch {
    const there = await fetch("/worker.js", { method: "HEAD", cache: "no-store" }).catch(() => undefined);
    if (there?.status !== 404 && there?.status !== 410) return;
    await registration.unregister();
    for (const name of await caches.keys()) {
      if (name.startsWith("quorate-")) await caches.delete(name);
    }
  }
};

const work = async (tell) => {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  // A notification that the worker showed was clicked.
  workers.addEventListener("message", ({ data }) => { location.hash = data; });
  try {
    registration = await workers.register("/worker.js", { updateViaCache: "none" });
  } catch {
    return;
  }
  judge(registration.waiting, tell);
  // One may be on its way since before anybody listened.
  attend(registration.installing, tell);
  registration.addEventListener("updatefound", () => attend(registration.installing, tell));
  const look = async () => {
    await check();
    // It may have been installed before anybody attended to it.
    judge(registration.waiting, tell);
  };
  // Another window took the new one.
  workers.addEventListener("controllerchange", () => judge(registration.active, tell));
  look();
  addEventListener("online", look);
  setInterval(look, UPDATE_MS);
};

// Loads the page of the worker that waits.
const swap = () => {
  const again = () => location.reload();
  const waiting = registration?.waiting;
  if (!waiting) return again();
  navigator.serviceWorker.addEventListener("controllerchange", again);
  waiting.postMessage("swap");
  // A window that no worker serves yet hears of no change.
  setTimeout(again, 2000);
};

// ---- What calls for attention behind other windows: the window's icon, notifications, a tone ----

const icon = document.querySelector("link[rel=icon]");
const plain = icon?.href;
const DOT = `<circle cx="24.5" cy="7.5" r="7.5" fill="#e5484d" stroke="#fff" stroke-width="1.5"/>`;
let dotted;

// How much is unread: a dot on the icon, and a number where a page that is installed can have one.
const badge = async (count) => {
  if (!icon || icon.dataset.unread === `${count}`) return;
  icon.dataset.unread = count;
  navigator.setAppBadge?.(count).catch(() => {});
  try {
    if (count && !dotted) {
      const drawn = (await (await fetch(plain)).text()).replace("</svg>", `${DOT}</svg>`);
      dotted ??= URL.createObjectURL(new Blob([drawn], { type: "image/svg+xml" }));
    }
  } catch {
    // The title counts as well.
  }
  const now = icon.dataset.unread > 0 && dotted || plain;
  if (icon.href !== now) icon.href = now;
};

const may = () => globalThis.Notification?.permission === "granted";

// Browsers ask only whoever has just clicked.
const ask = async () => globalThis.Notification ? await Notification.requestPermission() === "granted" : false;

const isOn = (key) => {
  try {
    return localStorage.getItem(key) !== null;
  } catch {
    return false;
  }
};

const shown = new Map();

// `tag` is where it leads, and makes a later one take the place of one before.
const show = (tag, title, body) => {
  const options = { tag, body, icon: plain };
  try {
    const note = new Notification(title, options);
    note.onclick = () => {
      focus();
      location.hash = tag;
      note.close();
    };
    shown.set(tag, note);
  } catch {
    // On phones the worker alone may show one; it also hears the click.
    registration?.showNotification(title, options).catch(() => {});
  }
};

let audio;
const tone = () => {
  audio ??= new AudioContext();
  audio.resume();
  const [sound, volume, now] = [audio.createOscillator(), audio.createGain(), audio.currentTime];
  sound.frequency.value = 660;
  volume.gain.setValueAtTime(0.12, now);
  volume.gain.exponentialRampToValueAtTime(0.001, now + 0.3);
  sound.connect(volume).connect(audio.destination);
  sound.start(now);
  sound.stop(now + 0.3);
};

const TOLD_MS = 5000;

// Of several windows that have the same to say, the one that gets its lock says it.
const notify = (tag, message, title, body) => {
  const say = () => {
    if (may() && isOn("quorate.notify")) show(tag, title, body);
    if (isOn("quorate.sound")) tone();
  };
  if (!locks) return say();
  locks.request(`quorate.notice.${message}`, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    say();
    await new Promise((resolve) => setTimeout(resolve, TOLD_MS));
  }).catch(() => {});
};

// What it told of is read.
const hush = async (tag) => {
  shown.get(tag)?.close();
  shown.delete(tag);
  (await registration?.getNotifications({ tag }))?.forEach((note) => note.close());
};

// What other windows, the browser and the worker have to say: "outbox" with a key of the local storage, "dnd", "asleep", "awake", "update".
const listen = (tell) => {
  addEventListener("storage", ({ key }) => {
    if (key?.startsWith("quorate.outbox.")) tell("outbox", key);
    if (key === "quorate.dnd") tell("dnd", "");
  });
  if (locks) listenToSleep(tell);
  work(tell);
};

globalThis.quorate = { kept, soon, keep, forget, live, after, listen, swap, badge, may, ask, tone, notify, hush };
