// What a strict TypeScript program sees of the CommonJS entry; compiled, not run.

import hostlane = require('hostlane');

async function main(): Promise<void> {
  const peer: hostlane.Peer = await hostlane.connect('name', { timeoutMs: 1000 });
  const { data }: hostlane.Message = await peer.recv({ channel: hostlane.Channel.DATA });
  console.log(data.length);
  await peer.close();
}

main().catch((error: unknown) => {
  console.error(error instanceof hostlane.HostlaneError ? error.code : error);
});
