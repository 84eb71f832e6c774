'use strict';

// Says what runs here, and multiplies numbers of any size.
const http = require('node:http');

http.createServer((request, response) => {
  const url = new URL(request.url, 'http://node');
  const send = (status, body) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  switch (url.pathname) {
    case '/ready':
      return send(200, {});
    case '/product': {
      const factors = url.searchParams.getAll('factor').map(BigInt);
      const product = factors.reduce((one, other) => one * other, 1n);
      return send(200, { program: `node ${process.versions.node}`, product: product.toString() });
    }
    default:
      return send(404, {});
  }
}).listen(3000);

process.on('SIGTERM', () => process.exit(0));
