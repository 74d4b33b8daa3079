// A raw `net` socket with framing in JavaScript: a write for each message.

import { connector, server } from './framing.mjs';
import { program } from './works.mjs';

await program(server(false), connector(false));
