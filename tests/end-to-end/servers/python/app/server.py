"""Asks a service of the platform a question and passes on what it said."""

import json
import os
import platform
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pika
import psycopg2
import redis

TIME_OUT = 10


def page(host):
    """A page over HTTP, and which program says that it was there."""
    with urlopen(f"http://{host}:8080/page.txt", timeout=TIME_OUT) as response:
        programs = [response.headers.get(name) for name in ("Via", "Server")]
        return " before ".join(filter(None, programs)), {"page": response.read().decode()}


def node():
    """A product that only numbers of any size get right."""
    with urlopen("http://node:3000/product?factor=4294967296&factor=4294967297", timeout=TIME_OUT) as response:
        document = json.load(response)
    return document.pop("program"), document


def database(word):
    """Adds a word to PostgreSQL and reads all words over another connection."""
    where = {
        "host": "database",
        "user": "postgres",
        "password": os.environ["DATABASE_PASSWORD"],
        "connect_timeout": TIME_OUT,
    }
    with psycopg2.connect(**where) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS words (number serial PRIMARY KEY, word text NOT NULL)")
        cursor.execute("INSERT INTO words (word) VALUES (%s)", (word,))
    with psycopg2.connect(**where) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), array_agg(word ORDER BY number) FROM words")
        ((version, words),) = cursor.fetchall()
    return f"PostgreSQL {version}", {"words": words}


def cache(word):
    """Sets a word in Redis and reads it over another connection."""
    where = {"host": "cache", "socket_timeout": TIME_OUT, "decode_responses": True}
    redis.Redis(**where).set("word", word, ex=60)
    other = redis.Redis(**where)
    return f"Redis {other.info('server')['redis_version']}", {"word": other.get("word")}


def queue(word):
    """Sends a word to RabbitMQ and looks at all words there over another connection, which gives them back."""
    where = pika.ConnectionParameters(
        host="queue",
        credentials=pika.PlainCredentials("servers", os.environ["QUEUE_PASSWORD"]),
        socket_timeout=TIME_OUT,
        blocked_connection_timeout=TIME_OUT,
    )
    with pika.BlockingConnection(where) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("words", durable=True)
        on_disk = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", "words", word.encode(), on_disk, mandatory=True)
    with pika.BlockingConnection(where) as connection:
        server = connection._impl.server_properties
        channel, words = connection.channel(), []
        while (message := channel.basic_get("words"))[0]:
            words.append(message[2].decode())
    return f"{server['product']} {server['version']}", {"words": words}


def python(word):
    """A calculation of its own."""
    return f"Python {platform.python_version()}", {"word": "".join(reversed(word))}


QUESTIONS = {
    "balancer": lambda _word: page("balancer"),
    "cache": cache,
    "database": database,
    "node": lambda _word: node(),
    "python": python,
    "queue": queue,
    "web": lambda _word: page("web"),
}


class Handler(BaseHTTPRequestHandler):
    """`/NAME?word=WORD` asks the service of that name."""

    def do_GET(self):
        parts = urlsplit(self.path)
        question = QUESTIONS.get(parts.path.removeprefix("/"))
        if parts.path == "/ready":
            return self.answer(200, {})
        if question is None:
            return self.answer(404, {})
        try:
            program, said = question(parse_qs(parts.query).get("word", [""])[0])
        except Exception as error:
            traceback.print_exc()
            return self.answer(502, {"error": f"{type(error).__name__}: {error}"})
        return self.answer(200, {"program": program, "said": said})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


ThreadingHTTPServer(("", 8000), Handler).serve_forever()
