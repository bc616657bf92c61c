package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// rowOf is how the row of a setting begins in the documentation.
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
		if !strings.Contains(text, "\n"+row+" ") {
			t.Errorf("docs/configuration.md has no row that begins with\n%s", row)
		}
	}
	newLine(t).flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, "`--"+f.Name+"`") && f.Name != "v" {
			t.Errorf("docs/configuration.md does not speak of --%s", f.Name)
		}
	})
	fields(func(path string, _ *v1alpha1.KubeProxyConfiguration) {
		above := path
		for !strings.Contains(text, "`"+above+"`") {
			dot := strings.LastIndex(above, ".")
			if dot < 0 {
				t.Errorf("docs/configuration.md does not speak of the field %s", path)
				return
			}
			above = above[:dot]
		}
	})
}
