package takeover

import (
	"testing"

	"github.com/fairlead/fairlead/e2e/site"
)

// TestFromNFTables takes over from kube-proxy's nftables mode and gives back.
func TestFromNFTables(t *testing.T) {
	site.ForEachVariant(t, func(t *testing.T, variant string) { thereAndBack(t, variant, "nftables") })
}
