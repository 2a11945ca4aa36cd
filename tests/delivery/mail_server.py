"""A mail server in a separate process, which logs the mails it accepts.

`python -m tests.delivery.mail_server PORT LOG` writes its port to the first file, and the recipient
and `Message-ID` of each mail to a line of the second one.
"""

import asyncio
import sys
from email import message_from_bytes, policy
from pathlib import Path

from aiosmtpd.smtp import SMTP


class Log:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)  # noqa: PTH123, SIM115 (open as long as it runs)

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd's name)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.file.write(f"{envelope.rcpt_tos[0]} {mail['Message-ID']}\n")
        return "250 OK"


async def serve(place, log):
    handler, loop = Log(log), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, loop=loop), "127.0.0.1", 0)
    Path(place).write_text(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
