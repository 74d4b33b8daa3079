// node request.mjs ADDRESS TEXT: one call, and its answer.
// README-begin
import { connect, HostlaneError } from 'hostlane';

const [address, text] = process.argv.slice(2);
try {
  const peer = await connect(address, { timeoutMs: 5000 });
  const reply = await peer.request(text, { timeoutMs: 5000 });
  console.log(reply.data.toString());
  await peer.close();
} catch (error) {
  if (!(error instanceof HostlaneError)) throw error;
  console.error(`hostlane: ${error.kind}: ${error.message}`);
  process.exitCode = 1;
}
// README-end
