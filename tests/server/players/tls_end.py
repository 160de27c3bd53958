"""A TLS proxy before an unencrypted server on this machine. Prints its port.

python3 tls_end.py CERTIFICATE KEY PORT"""

import asyncio
import ssl
import sys

certificate, key, port = sys.argv[1:]


async def copy(source, sink):
    try:
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


async def connected(client, to_client):
    server, to_server = await asyncio.open_connection("127.0.0.1", int(port))
    await asyncio.gather(copy(client, to_server), copy(server, to_client))


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


asyncio.run(main())
