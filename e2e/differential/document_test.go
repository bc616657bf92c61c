package differential

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is where users read of the differences.
const document = "../../docs/differences.md"

// TestDocumentNamesEveryDifference holds the cases that the document names against those that are listed here.
func TestDocumentNamesEveryDifference(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "|") {
			for _, quoted := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(line, -1) {
				named = append(named, quoted[1])
			}
		}
	}
	for _, d := range differences {
		if !slices.Contains(named, d.name) {
			t.Errorf("%s does not name %q", document, d.name)
		}
	}
	for _, name := range named {
		if !slices.ContainsFunc(differences, func(d difference) bool { return d.name == name }) {
			t.Errorf("%s names %q, where no difference is listed", document, name)
		}
	}
}
