// The same objects as the CommonJS entry: one implementation and one context per environment, whichever way it is loaded.
export type * from './index.js';
export { Channel, ERRORS, HANDLER_FAILED, HostlaneError, Link, Listener, Message, Peer, Stream, connect, listen, log } from './index.js';
