'use strict';

// Items with a life time, kept in the cache: PUT, GET and DELETE /items/:key.

const express = require('express');
const { createClient } = require('redis');
const { Metrics } = require('./metrics');

const port = numberFrom('PORT', 3000);
const cacheUrl = process.env.CACHE_URL || 'redis://127.0.0.1:6379';
const itemLifetimeSeconds = numberFrom('ITEM_LIFETIME_SECONDS', 3600);
const version = process.env.VERSION || 'unknown';
const environment = process.env.ENVIRONMENT || 'unknown';

// An answer from the cache that takes longer is no answer.
const CACHE_TIMEOUT_MS = 1000;
// Shorter than the grace that the recipe gives, so that the process ends by itself.
const LONGEST_STOP_MS = 25000;
const KEY = /^[A-Za-z0-9._-]{1,128}$/;

const metrics = new Metrics();
let isStopping = false;

const cache = createClient({
  url: cacheUrl,
  // Without a connection a command fails at once instead of waiting for one.
  disableOfflineQueue: true,
  pingInterval: 5000,
  socket: {
    connectTimeout: 2000,
    reconnectStrategy: (retries) => Math.min(50 * 2 ** Math.min(retries, 5), 1000),
  },
});
cache.on('ready', () => log('cache is connected'));
cache.on('error', (error) => log(`cache: ${error.message || error.code || error}`));

class CacheUnavailable extends Error {}

async function fromCache(command) {
  if (!cache.isReady) throw new CacheUnavailable('the cache is not connected');
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new CacheUnavailable('the cache does not answer')), CACHE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([command(cache), timeout]);
  } catch (error) {
    metrics.cacheFailed();
    throw error instanceof CacheUnavailable ? error : new CacheUnavailable(error.message);
  } finally {
    clearTimeout(timer);
  }
}

const app = express();
app.disable('x-powered-by');
app.disable('etag');

app.use((request, response, next) => {
  const started = process.hrtime.bigint();
  // The last answer on a connection says so, and the client opens its next one elsewhere.
  if (isStopping) response.set('Connection', 'close');
  response.on('finish', () => {
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    const route = request.route ? request.route.path : 'other';
    metrics.answered(request.method, route, response.statusCode, seconds);
  });
  next();
});

// The process runs.
app.get('/health', (_, response) => response.json({ status: 'ok' }));

// It can do its work.
app.get('/ready', handle(async (_, response) => {
  if (isStopping) return response.status(503).json({ status: 'stopping' });
  await fromCache((client) => client.ping());
  response.json({ status: 'ready' });
}));

app.get('/version', (_, response) => {
  response.json({ service: 'api', version, environment, node: process.version });
});

app.get('/metrics', (_, response) => {
  response.type('text/plain; version=0.0.4').send(metrics.text(cache.isReady));
});

app.param('key', (request, response, next, key) => {
  if (KEY.test(key)) return next();
  response.status(400).json({ error: 'a key has 1 to 128 letters, digits, dots, dashes and underscores' });
});

app.get('/items/:key', handle(async (request, response) => {
  const text = await fromCache((client) => client.get(itemKey(request)));
  if (text === null) return response.status(404).json({ error: 'there is no such item' });
  response.type('application/json').send(text);
}));

app.put('/items/:key', express.json({ limit: '64kb', strict: false }), handle(async (request, response) => {
  if (!request.is('application/json')) {
    return response.status(415).json({ error: 'an item is application/json' });
  }
  const text = JSON.stringify(request.body);
  await fromCache((client) => client.set(itemKey(request), text, { EX: itemLifetimeSeconds }));
  response.status(204).end();
}));

app.delete('/items/:key', handle(async (request, response) => {
  const count = await fromCache((client) => client.del(itemKey(request)));
  if (count === 0) return response.status(404).json({ error: 'there is no such item' });
  response.status(204).end();
}));

app.use((_, response) => response.status(404).json({ error: 'there is no such resource' }));

// Express knows it as the handler of errors by its four parameters.
app.use((error, _request, response, next) => {
  if (response.headersSent) return next(error);
  if (error instanceof CacheUnavailable) {
    return response.status(503).set('Retry-After', '1').json({ error: error.message });
  }
  const status = error.status >= 400 && error.status < 500 ? error.status : 500;
  if (status === 500) log(`error: ${error.stack || error}`);
  response.status(status).json({ error: status === 500 ? 'internal error' : error.message });
});

cache.connect().catch((error) => log(`cache: ${error.message}`));
const server = app.listen(port, () => log(`version ${version} listens on port ${server.address().port}`));
server.on('error', (error) => {
  log(`cannot listen on port ${port}: ${error.message}`);
  process.exit(1);
});

// New connections are refused, requests that have begun are answered, then the process ends with status 0.
function stop(signal) {
  if (isStopping) return;
  isStopping = true;
  log(`${signal}: stopping`);
  setTimeout(() => {
    log('some requests did not end in time');
    process.exit(1);
  }, LONGEST_STOP_MS).unref();
  server.close(async () => {
    if (cache.isReady) await cache.quit().catch(() => {});
    log('stopped');
    process.exit(0);
  });
  server.closeIdleConnections();
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

function itemKey(request) {
  return `item:${request.params.key}`;
}

function handle(handler) {
  return (request, response, next) => handler(request, response).catch(next);
}

function numberFrom(name, otherwise) {
  const text = process.env[name];
  if (text === undefined || text === '') return otherwise;
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) {
    log(`${name} is "${text}", a whole number is expected`);
    process.exit(1);
  }
  return number;
}

function log(text) {
  console.log(text);
}
