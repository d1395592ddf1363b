// Shows the page where the network does not answer. It keeps the files of one build and nothing else: no call, no socket, no other page.
// A newer one waits until a window asks it to take over.
const BUILD = "{{build}}";
const FILES = {{files}};
const NAME = `quorate-${BUILD}`;
// A network that says nothing for this long is taken for none.
const ANSWER_MS = 4000;

self.addEventListener("install", (event) => event.waitUntil(take()));
self.addEventListener("activate", (event) => event.waitUntil(tidy()));

self.addEventListener("message", ({ data, ports }) => {
  if (data === "build") ports[0].postMessage(BUILD);
  if (data === "swap") self.skipWaiting();
});

// Where browsers let nobody else show notifications, a page shows them by its worker. Its tag is where it leads.
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(lead(event.notification.tag));
});

async function lead(tag) {
  const open = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const chat = open.find(({ url }) => new URL(url).pathname === "/");
  if (!chat) return clients.openWindow(`/${tag}`);
  await chat.focus();
  chat.postMessage(tag);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname === "/") {
    if (request.mode === "navigate") event.respondWith(page(request));
  } else if (FILES.includes(url.pathname)) {
    event.respondWith(file(request));
  }
});

// All or nothing; while gateways are renewed one by one, the page may come from another build than this worker.
async function take() {
  const cache = await caches.open(NAME);
  try {
    await cache.addAll(FILES.map((path) => new Request(path, { cache: path === "/" ? "reload" : "default" })));
    const page = await (await cache.match("/")).text();
    if (!page.includes(BUILD)) throw new Error("the page is of another build");
  } catch (error) {
    await caches.delete(NAME);
    throw error;
  }
}

async function tidy() {
  for (const name of await caches.keys()) {
    if (name.startsWith("quorate-") && name !== NAME) await caches.delete(name);
  }
}

const stored = (path) => caches.match(path, { cacheName: NAME, ignoreVary: true });

async function page(request) {
  const asked = fetch(request);
  const late = new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  const answer = await Promise.race([asked.catch(() => undefined), late]);
  if (answer && answer.status < 500) return answer;
  return (await stored("/")) ?? asked;
}

async function file(request) {
  return (await stored(new URL(request.url).pathname)) ?? fetch(request);
}
