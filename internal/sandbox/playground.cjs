// Loaded into the Agents Playground before its own code: it has no login and
// would listen on every address of the machine. This keeps it on loopback.
const { Server } = require('node:net');

const listen = Server.prototype.listen;
Server.prototype.listen = function (where, ...rest) {
  return typeof where === 'number' ? listen.call(this, where, '127.0.0.1', ...rest) : listen.call(this, where, ...rest);
};
