package site

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"time"
)

// Mode is the proxy mode under test. The environment says it, as all tests from outside are for every mode.
var Mode = cmp.Or(os.Getenv("FAIRLEAD_MODE"), iptablesMode)

// Variants are the kernel interfaces that everything is tried on: both, unless the environment narrows them.
var Variants = strings.Split(cmp.Or(os.Getenv("FAIRLEAD_VARIANTS"), "legacy,nft"), ",")

// IPVS is the mode that runs in the virtual machine only.
const IPVS = "ipvs"

const iptablesMode = "iptables"

// ModeFlag is a flag that every mode has under its own name: "sync-period" is --iptables-sync-period in iptables mode.
func ModeFlag(name string) string { return "--" + Mode + "-" + name }

// Patience is how long to wait for what takes so long at most on a real machine. FAIRLEAD_PATIENCE says how many times as long it
// is where the tests run: an emulated machine may be that much slower.
func Patience(atMost time.Duration) time.Duration {
	times, err := strconv.Atoi(cmp.Or(os.Getenv("FAIRLEAD_PATIENCE"), "1"))
	if err != nil {
		panic("FAIRLEAD_PATIENCE: " + err.Error())
	}
	return time.Duration(times) * atMost
}
