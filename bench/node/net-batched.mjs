// A raw `net` socket with framing in JavaScript: one write for all messages of one turn.

import { connector, server } from './framing.mjs';
import { program } from './works.mjs';

await program(server(true), connector(true));
