// node link.mjs ADDRESS NAME: two of this program, in whatever order, greet each other; when one leaves, another may join.
// README-begin
import { HostlaneError, Link } from 'hostlane';

const [address, name] = process.argv.slice(2);
const link = await Link.open(address);
link.on('up', async (serving) => {
  console.log(serving ? 'serving' : 'connected');
  try {
    const greeting = await link.request(`hello from ${name}`);
    console.log(greeting.data.toString());
  } catch (error) {
    // The other side may be gone again: "down" tells, and the next one is greeted.
    if (!(error instanceof HostlaneError)) throw error;
    console.log(`no greeting: ${error.kind}`);
  }
});
link.on('down', (error) => console.log(`down: ${error.kind}`));
await link.serve((message) => `${name} got: ${message.data.toString()}`);
// README-end
