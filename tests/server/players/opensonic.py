"""The answers of a Subsonic server to py-opensonic, the library of Music Assistant: JSON on standard
output.

python3 opensonic.py http://127.0.0.1 PORT USER PASSWORD"""

import json
import sys

from libopensonic import Connection
from libopensonic.errors import SonicError

host, port, user, password = sys.argv[1:]
connection = Connection(host, user, password, port=int(port), legacy_auth=True)
songs = {song.title: song for song in connection.search3("", song_count=100).song}
first = songs["Chaos God"]
try:
    Connection(host, user, "wrong", port=int(port), legacy_auth=True).get_similar_songs2(first.id)
    refused = None
except SonicError as error:
    refused = type(error).__name__
try:
    connection.get_similar_songs("nonsense")
    unknown = None
except SonicError as error:
    unknown = type(error).__name__
print(
    json.dumps(
        {
            "ping": connection.ping(),
            "songs": len(songs),
            "similar": [
                {"title": song.title} for song in connection.get_similar_songs(first.id, count=3)
            ],
            "similar2": [
                song.title for song in connection.get_similar_songs2(first.artist_id, count=3)
            ],
            "of_album": [
                song.title for song in connection.get_similar_songs2(first.album_id, count=3)
            ],
            "refused": refused,
            "unknown": unknown,
        }
    )
)
