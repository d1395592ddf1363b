// In place of worker.js it ends a worker that went wrong, and removes what that one stored.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(end()));

async function end() {
  for (const name of await caches.keys()) {
    if (name.startsWith("quorate-")) await caches.delete(name);
  }
  await self.registration.unregister();
}
