// Probe is the workload of the test bed's own tests: an HTTP server that says who it is and can look at others.
//
//	/ready         the name of the pod
//	/get?url=URL   what URL answers, asked from inside the pod
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const limit = 1 << 20

func main() {
	client := &http.Client{Timeout: 5 * time.Second}
	http.HandleFunc("/ready", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, os.Getenv("HOSTNAME"))
	})
	http.HandleFunc("/get", func(answer http.ResponseWriter, request *http.Request) {
		response, err := client.Get(request.URL.Query().Get("url"))
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		answer.WriteHeader(response.StatusCode)
		io.Copy(answer, io.LimitReader(response.Body, limit))
	})
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(":8080", nil) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-signals:
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
