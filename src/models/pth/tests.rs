//! The reader of `.pth` files against files that PyTorch wrote and files that strangers may write.
