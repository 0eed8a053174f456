package store_test

func childProcess() bool { return false }
