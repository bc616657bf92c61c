package takeover

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }
