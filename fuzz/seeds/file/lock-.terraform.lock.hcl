src/.terraform.lock.hcl
provider "r/h/aws" {
  version = "5.1.0"
}
