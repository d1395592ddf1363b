#!/usr/bin/env python3
"""Plays the story of the demo in three browser windows through chromedriver, with Python's standard library alone.

    docs/demo/play.py --driver URL --out DIR --ada LINK --ben LINK --desk LINK

Called by docs/demo/record. Every step is a pair of pictures, `NN-ada.png` and `NN-ben.png`, or one of the desk, `NN-desk.png`.
Exit code 0 only if everything that the story says was seen on the page.
"""
import argparse
import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request

# Elections, gateways that come back and busy machines included.
PAGE_WAIT_S = 60
ENTER = "\ue007"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Missing(Exception):
    """Something that the story says was not seen."""


class Window:
    """A browser with a profile of its own."""

    def __init__(self, driver, name, link, height):
        self.driver, self.name = driver, name
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--hide-scrollbars", "--lang=en-US", "--accept-lang=en-US",
                     f"--window-size=1000,{height}"]
        options = {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}
        self.session = self._ask("POST", "/session", {"capabilities": options})["sessionId"]
        self.go(link)

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.driver + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PAGE_WAIT_S) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise Missing(f"{getattr(self, 'name', 'a window')}: {error.read()[:300]!r}") from error

    def _in(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def go(self, address):
        self._in("POST", "/url", {"url": address})

    def run(self, script, *arguments):
        return self._in("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, what, script, *arguments):
        """Until the script gives something true."""
        ends = time.monotonic() + PAGE_WAIT_S
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            if time.monotonic() > ends:
                raise Missing(f"{self.name} does not see {what}")
            time.sleep(0.1)

    def press(self, css):
        self.wait(css, """
            const element = document.querySelector(arguments[0]);
            if (!element || element.getAttribute("aria-disabled") === "true") return false;
            element.click();
            return true;""", css)

    def say(self, text):
        self.wait("the composer", "return document.querySelector('[data-testid=composer]')")
        found = self._in("POST", "/element", {"using": "css selector", "value": "[data-testid=composer]"})
        self._in("POST", f"/element/{found[ELEMENT]}/value", {"text": text + ENTER})

    def open(self, title):
        """Opens a conversation by its title."""
        self.wait(f"the conversation {title}", """
            const rows = [...document.querySelectorAll('[data-testid=conversation-row]')];
            const row = rows.find(row => row.querySelector('.row-name')?.textContent.includes(arguments[0]));
            row?.click();
            return row !== undefined;""", title)

    def sees(self, text):
        self.wait(repr(text), """
            return [...document.querySelectorAll('[data-testid=message]')].some(m => m.textContent.includes(arguments[0]));""",
                  text)

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._in("GET", "/screenshot")))

    def close(self):
        self._ask("DELETE", f"/session/{self.session}")


class Story:
    """The steps, numbered as they come."""

    def __init__(self, options, windows):
        self.out, self.number = options.out, 0
        self.ada, self.ben, self.desk = windows

    def step(self, what, *windows):
        self.number += 1
        print(f"{self.number:02} {what}", flush=True)
        time.sleep(0.4)
        for window in windows:
            window.picture(os.path.join(self.out, f"{self.number:02}-{window.name}.png"))

    def talk(self, ada, ben):
        """A line each, seen by the other."""
        self.ada.say(ada)
        self.ben.sees(ada)
        self.ben.say(ben)
        self.ada.sees(ben)

    def acknowledged(self, more):
        """Until so many more of the probe's messages are acknowledged."""
        count = """return Number(document.querySelectorAll('[data-testid=probe] [data-testid=counter]')[3]
            ?.textContent.replace(/[^0-9]/g, '') || 0)"""
        goal = self.desk.run(count) + more
        self.desk.wait(f"{more} messages more", f"return (() => {{ {count} }})() >= arguments[0]", goal)

    def play(self):
        ada, ben, desk = self.ada, self.ben, self.desk
        ada.open("Ben Lindqvist")
        ben.open("Ada Okafor")
        ada.sees("I was hoping")
        self.step("signed in by their links", ada, ben)
        self.talk("Are you there?", "At the other gateway, as far as I can tell.")
        self.step("they write to each other", ada, ben)
        desk.go(desk.address + "/desk#/demo")
        desk.press("[data-testid=probe-toggle]")
        desk.wait("the probe to run", "return document.querySelector('[data-testid=probe]')?.dataset.running === 'true'")
        desk.press("[data-testid=know]")
        self.acknowledged(20)
        self.step("the probe writes ten times a second", desk)
        desk.press("[data-testid=leader-kill]")
        desk.wait("a dead replica", "return document.querySelector('[data-testid=process][data-state=stopped]')")
        self.step("the leader is killed", desk)
        self.talk("They have just killed the leader.", "I did not notice.")
        self.step("they go on writing", ada, ben)
        desk.go(desk.address + "/desk#/cluster")
        desk.wait("the strip of the change, to its first commit", """
            return [...document.querySelectorAll('[data-testid=film]')].some(
                film => film.textContent.includes('was lost') && Number(film.dataset.marks) >= 5);""")
        desk.run("document.querySelector('[data-testid=film]').scrollIntoView({ block: 'center' })")
        self.step("what the change of leader took", desk)
        desk.go(desk.address + "/desk#/demo")
        desk.press("[data-testid=process][data-name=gateway-a] [data-fault=kill]")
        desk.wait("a dead gateway",
                  "return document.querySelector('[data-testid=process][data-name=gateway-a][data-state=stopped]')")
        self.acknowledged(20)
        self.step("a gateway is killed, and the probe writes on", desk)
        self.talk("And now a gateway.", "Mine or yours? Nothing is missing here.")
        self.step("they go on writing through another", ada, ben)
        desk.press("[data-testid=mend]")
        desk.wait("everything to run", """
            const all = [...document.querySelectorAll('[data-testid=process]')];
            return all.length > 0 && !all.some(process => process.dataset.state === 'stopped');""")
        desk.press("[data-testid=probe-toggle]")
        desk.wait("the probe to stop", "return document.querySelector('[data-testid=probe]')?.dataset.running === 'false'")
        verdict = desk.wait("that nothing is lost, doubled or out of order", """
            const words = document.querySelector('[data-testid=verdict]')?.textContent ?? '';
            return words.includes('each once and in order') && words;""")
        self.step("everything is back, and the probe has its result", desk)
        print(verdict, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Plays the story of the demo; called by docs/demo/record.")
    for name in ("driver", "out", "ada", "ben", "desk"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    windows = []
    try:
        ends = time.monotonic() + PAGE_WAIT_S
        while True:
            try:
                with urllib.request.urlopen(options.driver + "/status", timeout=5):
                    break
            except OSError:
                if time.monotonic() > ends:
                    raise Missing("chromedriver does not answer") from None
                time.sleep(0.2)
        for name in ("ada", "ben", "desk"):
            link = getattr(options, name)
            # The desk has more to show than a window usually has room for.
            window = Window(options.driver, name, link, 1600 if name == "desk" else 800)
            windows.append(window)
            window.address = link.split("/demo#")[0]
            window.wait("the chat", "return location.pathname === '/' && "
                        "document.querySelector('[data-testid=conversation-row]')")
        Story(options, windows).play()
    except Missing as missing:
        for window in windows:
            window.picture(os.path.join(options.out, f"failed-{window.name}.png"))
        print(f"play.py: {missing}", file=sys.stderr)
        return 1
    finally:
        for window in windows:
            window.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
