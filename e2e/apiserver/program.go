package apiserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// KubernetesProgram returns the path of kube-apiserver, kube-proxy or another
// of Kubernetes' programs: where the environment says (KUBE_APISERVER, KUBE_PROXY), else where hack/kube/build.sh
// puts it. The error says how to build it.
func KubernetesProgram(name string) (string, error) {
	path := os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	if path == "" {
		cache, err := CacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache with %s: %w", name, err)
		}
		path = filepath.Join(cache, "bin", name)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		return "", fmt.Errorf("find %s (build it by: hack/kube/build.sh %s): %w", name, name, err)
	}
	return path, nil
}

// CacheDir is the folder of what the scripts in hack build and keep.
func CacheDir() (string, error) {
	if cache := os.Getenv("FAIRLEAD_CACHE"); cache != "" {
		return cache, nil
	}
	user, err := os.UserCacheDir()
	return filepath.Join(user, "fairlead"), err
}
