// The answers of a Subsonic server to npm's subsonic-api: JSON on standard output.
//
//     node subsonic_api.mjs FOLDER_OF_THE_PACKAGE URL USER PASSWORD
const [folder, url, username, password] = process.argv.slice(2);
const { SubsonicAPI } = await import(`${folder}/lib/index.js`);
// supysonic knows no tokens: the password is sent with each request.
const p = password;
const ask = async (post) => {
  const api = new SubsonicAPI({ url, auth: { username, password }, post });
  const { searchResult3 } = await api.search3({ query: "", songCount: 100, p });
  const song = searchResult3.song.find(({ title }) => title === "Chaos God");
  const { similarSongs } = await api.getSimilarSongs({ id: song.id, count: 3, p });
  const { similarSongs2 } = await api.getSimilarSongs2({ id: song.id, count: 3, p });
  const stream = await api.stream({ id: song.id, p });
  return {
    similar: similarSongs.song.map(({ title }) => title),
    similar2: similarSongs2.song.map(({ title }) => title),
    bytes: (await stream.arrayBuffer()).byteLength,
  };
};
console.log(JSON.stringify({ get: await ask(false), post: await ask(true) }));
