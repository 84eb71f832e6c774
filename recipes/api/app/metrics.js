'use strict';

// Counters in the text format of Prometheus.

const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

class Metrics {
  constructor() {
    this.answers = new Map();
    this.buckets = BOUNDS.map(() => 0);
    this.count = 0;
    this.sum = 0;
    this.cacheFailures = 0;
  }

  answered(method, route, status, seconds) {
    const labels = `method="${escaped(method)}",route="${escaped(route)}",status="${status}"`;
    this.answers.set(labels, (this.answers.get(labels) || 0) + 1);
    const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) this.buckets[bucket] += 1;
    this.count += 1;
    this.sum += seconds;
  }

  cacheFailed() {
    this.cacheFailures += 1;
  }

  text(isCacheConnected) {
    const lines = [];
    const metric = (name, type, help) => lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    metric('http_requests_total', 'counter', 'Answered requests.');
    for (const [labels, count] of this.answers) lines.push(`http_requests_total{${labels}} ${count}`);
    metric('http_request_duration_seconds', 'histogram', 'Time from a request to its answer.');
    let below = 0;
    BOUNDS.forEach((bound, index) => {
      below += this.buckets[index];
      lines.push(`http_request_duration_seconds_bucket{le="${bound}"} ${below}`);
    });
    lines.push(`http_request_duration_seconds_bucket{le="+Inf"} ${this.count}`);
    lines.push(`http_request_duration_seconds_sum ${this.sum}`);
    lines.push(`http_request_duration_seconds_count ${this.count}`);
    metric('cache_failures_total', 'counter', 'Commands that the cache did not answer.');
    lines.push(`cache_failures_total ${this.cacheFailures}`);
    metric('cache_connected', 'gauge', 'Whether the cache is connected.');
    lines.push(`cache_connected ${isCacheConnected ? 1 : 0}`);
    metric('process_resident_memory_bytes', 'gauge', 'Memory in use.');
    lines.push(`process_resident_memory_bytes ${process.memoryUsage.rss()}`);
    return `${lines.join('\n')}\n`;
  }
}

function escaped(text) {
  return text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

module.exports = { Metrics };
