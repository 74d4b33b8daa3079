// node echo.mjs ADDRESS: answers every message on its channel, and calls with their payload.
// README-begin
import { listen } from 'hostlane';

const listener = await listen(process.argv[2]);
const peers = new Set();
process.once('SIGTERM', () => listener.close());
console.log(`ready ${process.argv[2]}`);

for await (const peer of listener) serve(peer);
for (const peer of peers) await peer.close();

async function serve(peer) {
  peers.add(peer);
  try {
    for await (const message of peer) await message.reply(message.data);
  } catch (error) {
    console.error(`${peer.info().peerId}: ${error.message}`);
  }
  peers.delete(peer);
  await peer.close();
}
// README-end
