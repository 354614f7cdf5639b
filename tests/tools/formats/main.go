// What the programs that read our formats say of them, with their own code: Prometheus's parser and linter of
// gauges, Kubernetes' types of a manifest.
//
//	go run . metrics < gauges.prom
//	go run . kubernetes FILE
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 2 {
		fail("what is to be looked at: metrics, kubernetes FILE")
	}
	switch os.Args[1] {
	case "metrics":
		metrics()
	case "kubernetes":
		manifest(string(read(os.Args[2])))
	default:
		fail("unknown: " + os.Args[1])
	}
}

// The rules of `promtool check metrics`, which is this linter.
func metrics() {
	problems, err := promlint.New(os.Stdin).Lint()
	check(err)
	for _, problem := range problems {
		// The name is the contract's: all hosts, which is no counter.
		if problem.Metric == "fleet_hosts_total" && strings.Contains(problem.Text, "\"_total\" suffix") {
			continue
		}
		fail(problem.Metric + ": " + problem.Text)
	}
}

// Every document is of a kind that is known, and has no field that its type has not.
func manifest(text string) {
	for _, document := range strings.Split(text, "\n---\n") {
		var kind struct{ Kind string }
		check(yaml.Unmarshal([]byte(document), &kind))
		var object any
		switch kind.Kind {
		case "CronJob":
			object = &batch.CronJob{}
		case "ConfigMap":
			object = &core.ConfigMap{}
		case "PersistentVolumeClaim":
			object = &core.PersistentVolumeClaim{}
		default:
			fail("a kind that is not looked at: " + kind.Kind)
		}
		check(yaml.UnmarshalStrict([]byte(document), object))
	}
}

func read(name string) []byte {
	file, err := os.Open(name)
	check(err)
	text, err := io.ReadAll(file)
	check(err)
	return text
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
