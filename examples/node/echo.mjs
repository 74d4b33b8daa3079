// node echo.mjs ADDRESS: answers every message on its channel, and calls with their payload.
// README-begin
import { listen } from 'hostlane';

const listener = await listen(process.argv[2]);
process.once('SIGTERM', () => process.exit(0));
console.log(`ready ${process.argv[2]}`);

await listener.serve((message) => message.data, { onError: (error) => console.error(String(error)) });
// README-end
