"""The answers of `voisin mcp`, by the protocol's own client (PyPI's mcp): JSON on
standard output.

    python3 assistant.py VOISIN < CALLS

CALLS: a JSON list of [TOOL, ARGUMENTS]."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    calls = json.load(sys.stdin)
    server = StdioServerParameters(command=sys.argv[1], args=["mcp"], env=dict(os.environ))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        greeting = await session.initialize()
        tools = (await session.list_tools()).tools
        answers = []
        for name, arguments in calls:
            answer = await session.call_tool(name, arguments)
            text = "".join(part.text for part in answer.content)
            answers.append({"text": text, "is_error": bool(answer.is_error)})
        print(
            json.dumps(
                {
                    "name": greeting.server_info.name,
                    "instructions": greeting.instructions,
                    "tools": [
                        tool.model_dump(mode="json", by_alias=True, exclude_none=True)
                        for tool in tools
                    ],
                    "answers": answers,
                }
            )
        )


asyncio.run(main())
