package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// rowOf returns the start of a setting's row in the documentation.
func rowOf(s setting, flags *pflag.FlagSet) string {
	field, live := "", "restart"
	if s.field != "" {
		field = "`" + s.field + "`"
	}
	switch {
	case s.live:
		live = "live"
	case s.flag == "init-only":
		live = ""
	}
	value := flags.Lookup(s.flag).DefValue
	if value == "[]" {
		value = ""
	}
	if value != "" {
		value = "`" + value + "`"
	}
	return strings.ReplaceAll(fmt.Sprintf("| %s | `--%s` | %s | %s |", field, s.flag, value, live), "|  |", "| |")
}

func TestEverySettingIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	flags := Default().flags()
	for _, s := range settings {
		row := strings.ReplaceAll(rowOf(s, flags), "|  |", "| |")
		_, rest, ok := strings.Cut(text, "\n"+row+" ")
		if !ok {
			t.Errorf("docs/configuration.md has no row that starts with\n%s", row)
		}
		rest, _, _ = strings.Cut(rest, "\n")
		if columns := strings.Count(rest, "|"); columns < 1 || s.own && columns != 2 || strings.Contains(rest, "|  |") {
			t.Errorf("the row of %s in docs/configuration.md does not end with its unit, if it is Fairlead's own, and its meaning: %s", s.flag, rest)
		}
	}
	newLine(t).flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, "`--"+f.Name+"`") && f.Name != "v" {
			t.Errorf("docs/configuration.md does not mention --%s", f.Name)
		}
	})
	fields(func(path string, _ *v1alpha1.KubeProxyConfiguration) {
		above := path
		for !strings.Contains(text, "`"+above+"`") {
			dot := strings.LastIndex(above, ".")
			if dot < 0 {
				t.Errorf("docs/configuration.md does not mention the field %s", path)
				return
			}
			above = above[:dot]
		}
	})
}
