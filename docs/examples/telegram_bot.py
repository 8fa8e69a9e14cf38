"""A Telegram bot that renders prompts on a farm: a text becomes a picture; `/queue` and `/cost` tell more.

pip install shotfarm
export FARM_PUBLIC_URL=https://farm.example.com FARM_KEY=shotfarm_…  # of `farm keys create telegram`
export TELEGRAM_TOKEN=…       # of @BotFather
export TELEGRAM_CHATS=1234567 # who may use it, separated by commas; the bot tells others their number
python telegram_bot.py z-image-turbo
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import httpx
from shotfarm.client import AsyncFarm, FarmError

#: Seconds for which Telegram holds a call for new messages, and for which an image is waited for.
LISTEN_S, WAIT_S = 50, 3600.0
#: Characters of a message and of a caption.
MESSAGE, CAPTION = 4096, 1024
HELP = "Send a prompt, and you get a picture. /queue shows what waits, /cost what this month cost."


class Telegram:
    """The calls of Telegram's bot API that this bot needs."""

    def __init__(self, token: str, url: str = "https://api.telegram.org") -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/bot{token}/", timeout=LISTEN_S + 10)

    async def call(self, method: str, files: dict[str, Any] | None = None, **fields: Any) -> Any:
        given = {"data": fields, "files": files} if files else {"json": fields}
        answer = (await self._http.post(method, **given)).json()
        if not answer["ok"]:
            raise RuntimeError(f"Telegram refuses {method}: {answer['description']}")
        return answer["result"]

    async def say(self, chat: int, text: str) -> None:
        await self.call("sendMessage", chat_id=chat, text=text[:MESSAGE])

    async def close(self) -> None:
        await self._http.aclose()


class Bot:
    def __init__(self, farm: AsyncFarm, telegram: Telegram, model: str, chats: set[int]) -> None:
        self.farm, self.telegram, self.model, self.chats = farm, telegram, model, chats
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer messages, each by itself, until cancelled."""
        offset = 0
        while True:
            try:
                updates = await self.telegram.call(
                    "getUpdates", offset=offset, timeout=LISTEN_S, allowed_updates=["message"]
                )
            except httpx.HTTPError as error:
                print(f"Telegram does not answer ({error}); trying again", file=sys.stderr)
                await asyncio.sleep(5)
                continue
            for update in updates:
                offset = update["update_id"] + 1
                if "text" in update.get("message", {}):
                    task = asyncio.create_task(self.answer(update["update_id"], update["message"]))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)

    async def answer(self, number: int, message: dict[str, Any]) -> None:
        chat, text = message["chat"]["id"], message["text"].strip()
        try:
            if chat not in self.chats:
                await self.telegram.say(chat, f"This bot does not know you: your number is {chat}.")
            elif text == "/queue":
                await self.telegram.say(chat, await self.queue())
            elif text == "/cost":
                await self.telegram.say(chat, await self.cost())
            elif text.startswith("/"):
                await self.telegram.say(chat, HELP)
            else:
                await self.picture(chat, text, f"telegram-{number}")
        except FarmError as error:
            await self.telegram.say(chat, str(error))
        except (httpx.HTTPError, RuntimeError) as error:
            print(f"message {number} of {chat}: {error}", file=sys.stderr)

    async def picture(self, chat: int, prompt: str, order: str) -> None:
        """Order a picture and send it; a message that Telegram repeats is no second order."""
        image = await self.farm.image(prompt, model=self.model, name="telegram", idempotency_key=order)
        if image.url is None:
            await self.telegram.call("sendChatAction", chat_id=chat, action="upload_photo")
            if image.eta_s is not None and image.eta_s > 10:
                await self.telegram.say(chat, f"It takes about {image.eta_s:.0f} seconds.")
            image = await self.farm.wait(image, WAIT_S)
        if image.url is None:
            why = " ".join(filter(None, (image.explanation, image.remedy)))
            await self.telegram.say(chat, f"There is no picture: {why or image.status}")
            return
        caption = f"{prompt}\nseed {image.seed}, {image.cost or 0:.4f} {image.currency}"
        photo = {"photo": (f"picture.{image.format}", await self.farm.download(image))}
        await self.telegram.call("sendPhoto", files=photo, chat_id=chat, caption=caption[:CAPTION])

    async def queue(self) -> str:
        jobs = await self.farm.jobs(status=("waiting", "running"))
        lines = [f"{job.name}: {job.counts.get('done', 0)} of {job.images} done" for job in jobs]
        return "\n".join(lines) or "Nothing waits."

    async def cost(self) -> str:
        bill = await self.farm.costs()
        return f"{bill.subject}: {bill.images} images, {bill.cost:.2f} {bill.currency}"


async def main() -> None:
    given = os.environ
    chats = {int(chat) for chat in given["TELEGRAM_CHATS"].split(",")}
    telegram = Telegram(given["TELEGRAM_TOKEN"], given.get("TELEGRAM_URL", "https://api.telegram.org"))
    async with AsyncFarm(given["FARM_PUBLIC_URL"], given["FARM_KEY"]) as farm:
        try:
            await Bot(farm, telegram, sys.argv[1], chats).run()
        finally:
            await telegram.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main())
